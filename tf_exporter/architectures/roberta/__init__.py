"""RoBERTa (Y. Liu et al., 2019), XLM-RoBERTa and CamemBERT."""
