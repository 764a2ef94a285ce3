"""Testing what is trained already: this program's runs, and other people's weights."""
