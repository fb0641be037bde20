"""photogpt-webhooks: forwards train requests to PhotoGPT, watches the models, and POSTs signed webhooks."""
