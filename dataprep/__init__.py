"""What one picture goes through: from a source to a row of the corpus, and from a row to a training sample.

In: pictures (files, archives, assembled drawings) as bytes. Out: rows with line art, masks and region maps, the
corpus on disk, and the samples that training reads. Everything here is a pure function of one row or one file:
no Ray, no networks, no MLflow.
"""
