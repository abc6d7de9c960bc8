"""The crystal graph convolutional network behind FD CGCNN: its graph, training and activations."""
