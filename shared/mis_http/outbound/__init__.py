"""What is reached from here on somebody's word: judged first, and then connected to as judged."""
