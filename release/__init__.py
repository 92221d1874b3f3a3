"""What is done before a deployment: the build, the website, the documents that follow from the code."""
