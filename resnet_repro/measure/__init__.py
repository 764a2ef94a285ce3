"""What is measured on networks: responses (Fig. 7), gradients (section 4.1), crops, costs."""
