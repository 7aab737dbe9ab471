"""What work reports to MLflow: kept in a file first, sent by a thread beside the work, sent later where nobody answers.

In: metrics, inputs and documents of one piece of work. Out: an MLflow run, or an outbox beside the output.
"""
