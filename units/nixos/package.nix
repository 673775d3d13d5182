# The program for NixOS, of what `npm run package` has made: there is nothing to fetch, and nothing to compile.
{
  lib,
  stdenv,
  patchelf,
  # A tarball of a release, or the folder that was one.
  src ? null,
}:
let
  version = "0.2.0";

  # What is taken of a folder, which may be /usr of a Debian.
  parts = [
    "bin/docker-preloader"
    "lib/docker-preloader/docker-preloader"
    "lib/systemd/system/docker-preloader.service"
    "lib/systemd/system/docker-preloader.socket"
    "lib/systemd/system/docker-preloader-containerd.service"
    "lib/systemd/system/docker-preloader-before-containerd.target"
    "share/bash-completion/completions/docker-preloader"
    "share/doc/docker-preloader"
    "share/docker-preloader/schemas"
    "share/fish/vendor_completions.d/docker-preloader.fish"
    "share/man/man5/docker-preloader-config.5.gz"
    "share/man/man8/docker-preloader.8.gz"
    "share/zsh/vendor-completions/_docker-preloader"
  ];
  isPart = path: lib.any (part: part == path || lib.hasPrefix "${part}/" path || lib.hasPrefix "${path}/" part) parts;

  # This file is in the release, in share/docker-preloader/nixos/, and in the repository, beside dist/.
  release = ../../..;
  architecture = if stdenv.hostPlatform.isAarch64 then "arm64" else "amd64";
  tarball = ../../dist + "/docker-preloader_${version}_${architecture}.tar.gz";
  found =
    if builtins.pathExists (release + "/lib/docker-preloader/docker-preloader") then
      builtins.path {
        name = "docker-preloader-${version}";
        path = release;
        filter = path: _type: isPart (lib.removePrefix "${toString release}/" path);
      }
    else if builtins.pathExists tarball then
      tarball
    else
      throw "docker-preloader: expected ${toString tarball}; make it with `npm run package`, or use this file as it is in a release";
in
stdenv.mkDerivation {
  pname = "docker-preloader";
  inherit version;
  src = if src == null then found else src;
  nativeBuildInputs = [ patchelf ];

  # The whole program is a Bun with ours at its end. It keeps that if it is stripped, but nothing is gained by it. With an
  # rpath it crashes: it finds glibc by the loader, which is that of glibc.
  dontStrip = true;
  dontPatchELF = true;
  # Instead of the phases, so that no hook changes the programs after this.
  buildCommand = ''
    tree=$src
    if [ ! -d "$src" ]; then
      tree=unpacked
      mkdir "$tree"
      tar -xzf "$src" -C "$tree"
    fi
    if [ -d "$tree/usr" ]; then tree=$tree/usr; fi

    for part in ${toString parts}; do
      mkdir -p "$out/$(dirname "$part")"
      cp -R "$tree/$part" "$out/$part"
    done
    chmod -R u+w "$out"
    sed -i "s|/usr/|$out/|g" "$out"/lib/systemd/system/*
    whole=$out/lib/docker-preloader/docker-preloader
    patchelf --set-interpreter "${stdenv.cc.bintools.dynamicLinker}" "$whole"
    # By its size the other part of the program tells it from a part of it.
    wc -c < "$whole" > "$whole.bytes"
    # Both parts of the program are there, and find each other.
    "$out/bin/docker-preloader" build --help > /dev/null
  '';

  meta = {
    description = "Docker images that are already there when Docker or Kubernetes starts";
    license = lib.licenses.mit;
    mainProgram = "docker-preloader";
    platforms = [
      "x86_64-linux"
      "aarch64-linux"
    ];
    sourceProvenance = [ lib.sourceTypes.binaryNativeCode ];
  };
}
