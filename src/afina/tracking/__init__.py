"""Tell other programs' experiment trackers what a study's runs do: one file in `trackers/` a tracker."""
