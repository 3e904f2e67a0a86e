# The demo store: VersityGW over the files of a volume. Not for production.
# The program is static and needs nothing else. It comes from the build context `program`, the folder that the Go module
# tests/cluster/go/versitygw was built into.
FROM scratch
COPY --from=program versitygw /usr/local/bin/versitygw
USER 1000:1000
WORKDIR /
ENTRYPOINT ["/usr/local/bin/versitygw"]
