"""What the study's records say: estimators over tables, and their intervals."""
