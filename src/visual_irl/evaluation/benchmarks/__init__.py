"""What is measured side by side with peers, a module a measurement: the verb `bench`."""
