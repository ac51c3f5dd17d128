"""What a store that somebody else deployed says of itself, by its own protocol; and our scratch place in it.

`asker.Asker` runs one survey as a child where the load runs too. SURVEYS is the one place to register one, by the
name of the stack whose protocol it speaks; each module has a class `SURVEY`.
"""

SURVEYS = {
    "galera": "steadyset.load.surveys.galera",
    "kafka": "steadyset.load.surveys.kafka",
    "postgresql": "steadyset.load.surveys.postgresql",
    "rabbitmq": "steadyset.load.surveys.rabbitmq",
    "redis": "steadyset.load.surveys.redis",
}
