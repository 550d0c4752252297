"""The verbs of the command line on files: each reads artefacts, says what it does, and writes an artefact with its sidecar."""
