class CannotBeMadeError(Exception):
    """This machine cannot make the fault; the text says what it lacks."""
