FROM scratch AS base
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN mkdir -p /app /tmp

# As a package manager leaves it: 1,000 small files that compress by a half.
FROM base AS packages
COPY packages.lock /app/
RUN for d in 0 1 2 3 4 5 6 7 8 9; do mkdir /app/vendor-$d; for i in $(seq 100); do \
      head -c 10000 /dev/urandom | hexdump -v -e '"%08x"' > /app/vendor-$d/package-$i; done; done

# As a compiler comes: a few large files.
FROM base AS toolchain
RUN mkdir /toolchain && head -c 60000000 /dev/urandom > /toolchain/cc \
 && head -c 20000000 /dev/urandom > /toolchain/ld
RUN ln -s cc /toolchain/c++

FROM toolchain AS build
COPY --from=packages /app /app
COPY source-*.c /app/src/
RUN mkdir /app/obj && for f in /app/src/*.c; do \
      o=/app/obj/$(basename $f .c).o; gzip -c $f > $o; head -c 200000 /dev/urandom >> $o; done
RUN cat /app/obj/*.o > /app/program && sha256sum /app/program > /app/program.sum
RUN sha256sum -c /app/program.sum

FROM base AS image
COPY --from=packages /app/vendor-0 /app/vendor
COPY --from=build /app/program /app/program.sum /app/
RUN sha256sum -c /app/program.sum
