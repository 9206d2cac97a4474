"""What a server is put through: each file does one kind of harm to a real process and checks what it answers."""
