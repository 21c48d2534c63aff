"""``hyperbase shell``: HBase's shell, to an HBase user's fingers, over the client API and nothing else.

A line goes ``lexer`` → ``parser`` → ``interpreter``; a command is a function in ``commands/`` registered
with its help in ``registry``; what it prints goes through ``formatter``. Nothing here evaluates Ruby or
Python: the grammar knows literals, variables and calls.
"""
