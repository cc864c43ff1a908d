"""Why is it wrong? A network's errors over labelled images, each with what explains it."""
