"""What is run in containers: the broker's image under the main job, the Dockerfile and the Compose file."""
