"""Images with boxes around their objects, for detection (Tables 7 and 8, appendix A)."""
