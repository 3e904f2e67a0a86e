"""The product's images for the local cluster: built where there is no container engine, loaded where there is no registry."""
