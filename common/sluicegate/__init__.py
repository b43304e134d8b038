"""sluicegate: security gates for ML pipelines.

Nothing is trained on and nothing is deployed without a signed receipt, bound to its bytes,
that the consumer itself has verified.

``gate`` passes a subject through a stage and leaves a receipt; ``open_cleared`` verifies the
receipts and returns the data. Everything else serves these two. The core knows no
orchestrator; ``sluicegate_airflow`` and ``sluicegate_prefect`` are thin adapters.
"""
