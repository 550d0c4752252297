"""Things in RGB-D pictures: onions and their blemishes, vessels, the user's own; and which is which over time."""
