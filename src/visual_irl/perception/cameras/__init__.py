"""Where frames come from: recordings, videos, folders, live and simulated cameras; and what is wrong with them."""
