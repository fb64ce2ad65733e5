/** LangChain4j's interfaces over models of tf-exporter. */
package io.github.tfexporter.langchain4j;
