"""People in one colour picture: body and hand landmarks, who is looked at, and the networks that find them."""
