"""stub"""
def measure(readers, facts, requests):
    return None
