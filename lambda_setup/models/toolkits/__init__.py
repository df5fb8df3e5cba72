"""Models of other toolkits: recognised, converted by CTranslate2 in an environment of its own, and proved."""
