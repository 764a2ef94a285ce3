"""What is measured on networks: responses (Fig. 7), gradients (4.1), views, surfaces, detection."""
