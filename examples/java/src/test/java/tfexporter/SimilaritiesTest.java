package tfexporter;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class SimilaritiesTest {
  @Test
  void cosineIsThatOfTheAngle() {
    assertEquals(1, Similarities.cosine(new float[] {3, 4}, new float[] {6, 8}), 1e-12);
    assertEquals(0, Similarities.cosine(new float[] {3, 4}, new float[] {-4, 3}), 1e-12);
    assertEquals(-0.96, Similarities.cosine(new float[] {3, 4}, new float[] {-4, -3}), 1e-12);
  }
}
