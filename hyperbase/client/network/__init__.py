"""Clients of servers. What they decide is in modules without input and output, as generators that yield what
to do (``commands``); a blocking driver and one for asyncio carry it out. Importing this loads nothing.
"""
