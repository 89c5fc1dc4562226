"""What is bundled and how it is fetched, for build.py alone; plugin/start/importer.py finds it in the archive."""
