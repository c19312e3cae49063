"""Models as graphs, and how their networks learned: what is drawn of estimators."""
