"""The benchmark: how well and how fast the whole product works on footage that nothing was trained on."""
