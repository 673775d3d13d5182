# A small stand-in for nixpkgs: what our module and package use of it, made of Debian's programs.
{
  lib,
  # A folder: `tools/bin`, a static busybox under the names of its applets, and patchelf; `glibc/lib`, with the loader.
  place,
}:
let
  system = "x86_64-linux";
  add =
    name:
    builtins.path {
      path = place + "/${name}";
      inherit name;
    };
  tools = add "tools";

  run =
    name: attrs: script:
    derivation (
      {
        inherit name system;
        builder = "${tools}/bin/busybox";
        args = [
          "sh"
          "-euc"
          script
        ];
        PATH = "${tools}/bin";
      }
      // attrs
    );
  writeText = name: text: run name { inherit text; } ''printf %s "$text" > "$out"'';

  pkgs = {
    inherit lib writeText;
    runCommand = run;
    patchelf = tools;
    stdenv = {
      hostPlatform = {
        inherit system;
        isAarch64 = false;
      };
      cc.bintools.dynamicLinker = "${add "glibc"}/lib/ld-linux-x86-64.so.2";
      mkDerivation =
        attrs:
        run "${attrs.pname}-${attrs.version}" (removeAttrs attrs [
          "buildCommand"
          "meta"
        ]) attrs.buildCommand;
    };
    formats.json = _: {
      type = lib.types.anything;
      generate = name: value: writeText name (builtins.toJSON value);
    };
    callPackage =
      file: args:
      let
        function = import file;
      in
      function (builtins.intersectAttrs (builtins.functionArgs function) pkgs // args);

    # An image as dockerTools makes one of what is in `images/`: an archive of `docker save`, compressed.
    image =
      name:
      run "docker-image-${name}.tar.gz" { archive = place + "/images/${name}.tar"; } ''gzip -n < "$archive" > "$out"''
      // {
        imageName = name;
      };
    # The same as `streamLayeredImage` has it: a program that prints the archive.
    streamedImage =
      name:
      run "stream-${name}" { archive = place + "/images/${name}.tar"; } ''
        printf '#!%s/sh\nexec cat %s\n' "$PATH" "$archive" > "$out"
        chmod +x "$out"
      ''
      // {
        imageName = "registry.example/${name}";
        isExe = true;
      };
    pause = pkgs.image "pause";
    # Where Debian has it.
    docker = run "docker" { } ''
      mkdir -p "$out/bin"
      ln -s /usr/sbin/dockerd "$out/bin/dockerd"
    '';
  };
in
pkgs
