"""What each modality, region, word and lab value contributed to a prediction."""
