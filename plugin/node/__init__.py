"""What is known of this machine's Node: how fresh it must be, how it is kept, and which Node it is."""
