# Docker images that are already there when Docker or Kubernetes starts, on NixOS.
#
# `images` and `qcowSize` are called as in the module of nixpkgs that was there from 2018 to 2020.
{
  config,
  lib,
  options,
  pkgs,
  ...
}:
let
  inherit (lib)
    concatLists
    elem
    literalExpression
    literalMD
    mkIf
    mkOption
    optional
    optionalAttrs
    optionals
    types
    ;

  cfg = config.virtualisation.dockerPreloader;
  docker = config.virtualisation.docker;

  # A list, one word or a text of several lines: so the parts of a unit are.
  toText = value: if builtins.isList value then builtins.concatStringsSep "\n" value else toString value;
  # The file that dockerd is told, if it is told one. The path keeps what it stands on.
  dockerConfig =
    let
      command = toText (config.systemd.services.docker.serviceConfig.ExecStart or "");
      found = builtins.match ".*--config-file[= ]([^[:space:]]+).*" command;
    in
    if docker.enable && found != null then
      builtins.substring 0 0 command + builtins.head found
    else
      null;
  dataRoot = cfg.settings.dataRoot or docker.daemon.settings.data-root or "/var/lib/docker";
  storageDriver =
    if docker.storageDriver != null then
      docker.storageDriver
    else
      docker.daemon.settings.storage-driver or null;

  kubelet = config.services.kubernetes.kubelet;
  # What kubelet would import by itself, at each of its starts. Its own value is empty then.
  takesSeeds = cfg.enable && cfg.kubernetes;
  seeds = optionals takesSeeds (concatLists options.services.kubernetes.kubelet.seedDockerImages.definitions);

  fillsContainerd =
    elem cfg.store [
      "containerd"
      "both"
    ]
    || cfg.kubernetes;

  # Images of `streamLayeredImage` are programs that print one. What is built cannot be called as they may.
  archiveOf =
    image:
    if image.isExe or false then
      pkgs.runCommand "${baseNameOf (image.imageName or "image")}.tar" { inherit image; } ''"$image" > "$out"''
    else
      image;
  # An image that is named twice is the same one, and in whatever order they are named, the disk is.
  archives = builtins.sort builtins.lessThan (lib.unique (map (image: "${archiveOf image}") (cfg.images ++ seeds)));

  # Which disk it is can be known before it is there, so that a guest can wait for it by name. An erofs has room for 15 bytes.
  label = "dpl-${builtins.substring 0 11 (builtins.hashString "sha256" (toString archives))}";

  # `build` needs no shell, no other program and no root, so that it is the builder itself.
  disk = derivation {
    name = "docker-preloader-images.qcow2";
    inherit (pkgs.stdenv.hostPlatform) system;
    # It is large, and made within seconds.
    preferLocalBuild = true;
    allowSubstitutes = false;
    builder = "${cfg.package}/bin/docker-preloader";
    args = [
      "build"
      "--quiet"
      "--output"
      (placeholder "out")
      "--format"
      "qcow2"
      "--label"
      label
      "--filesystem"
      cfg.filesystem
    ]
    ++ optionals (cfg.qcowSize != null) [
      "--size"
      "${toString cfg.qcowSize}M"
    ]
    ++ archives;
  };

  namespaces = optional docker.enable "moby" ++ optional cfg.kubernetes "k8s.io";
  settings =
    {
      labels = cfg.labels ++ optional (cfg.disk != null && !(elem cfg.label cfg.labels)) cfg.label;
      inherit (cfg) required store;
    }
    // optionalAttrs (namespaces != [ ]) { inherit namespaces; }
    // optionalAttrs (dockerConfig != null) { inherit dockerConfig; }
    // cfg.settings;

  configFile = "docker-preloader/config.json";
in
{
  options.virtualisation.dockerPreloader = {
    enable = mkOption {
      type = types.bool;
      default = cfg.images != [ ];
      defaultText = literalExpression "config.virtualisation.dockerPreloader.images != [ ]";
      description = ''
        Whether to put the images of preload disks into the stores of Docker and containerd before Docker and
        kubelet start.
      '';
    };

    images = mkOption {
      type = types.listOf types.package;
      default = [ ];
      example = literalExpression "[ pkgs.dockerTools.examples.nix pkgs.dockerTools.examples.bash ]";
      description = ''
        Images of dockerTools, and whatever else `docker-preloader build` takes: archives of `docker save` and
        OCI layouts. One disk is built of all of them.
      '';
    };

    qcowSize = mkOption {
      type = types.nullOr types.int;
      default = null;
      example = 1024;
      description = "The size of the disk's filesystem in MiB, or null for as much as it needs.";
    };

    filesystem = mkOption {
      type = types.enum [
        "ext4"
        "erofs"
      ];
      default = if fillsContainerd then "erofs" else "ext4";
      defaultText = literalExpression ''if containerd's store is filled then "erofs" else "ext4"'';
      description = ''
        The disk's filesystem. containerd wants each layer as a registry has it, too, which takes no more room on
        an erofs. That wants Linux 6.4 or later.
      '';
    };

    labels = mkOption {
      type = types.listOf types.str;
      default = [ "dpl-*" ];
      description = ''
        Labels of the disks that count, names or globs, in rising order of precedence. That of the disk that is
        built of `images` is added.
      '';
    };

    required = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = literalExpression "[ config.virtualisation.dockerPreloader.label ]";
      description = ''
        Disks without which the result is a failure: names, globs or LABEL@sha256:DIGEST. With `strict`, Docker
        does not start then.
      '';
    };

    strict = mkOption {
      type = types.bool;
      default = false;
      description = "Whether Docker only starts when its store could be filled, with all required disks.";
    };

    store = mkOption {
      type = types.enum [
        "auto"
        "overlay2"
        "containerd"
        "both"
      ];
      default = if cfg.kubernetes && !docker.enable then "containerd" else "auto";
      defaultText = literalExpression ''if only kubelet has images then "containerd" else "auto"'';
      description = "Which store gets the images: Docker's own, that of containerd, or the one that Docker uses.";
    };

    kubernetes = mkOption {
      type = types.bool;
      default = kubelet.enable or false;
      defaultText = literalExpression "config.services.kubernetes.kubelet.enable";
      description = ''
        Whether the images are put into containerd's namespace `k8s.io`, and with them those of
        {option}`services.kubernetes.kubelet.seedDockerImages`, which kubelet then does not import itself.
      '';
    };

    settings = mkOption {
      inherit (pkgs.formats.json { }) type;
      default = { };
      example = {
        deviceTimeoutSec = 30;
        prunedImages = "respect";
      };
      description = "More keys of {file}`/etc/docker-preloader/config.json`. They count more than what other options say.";
    };

    package = mkOption {
      type = types.package;
      default = pkgs.callPackage ./package.nix { };
      defaultText = literalExpression "pkgs.callPackage ./package.nix { }";
      description = "The program, which builds the disk, and which the units start.";
    };

    disk = mkOption {
      type = types.nullOr types.package;
      readOnly = true;
      default = if archives == [ ] then null else disk;
      defaultText = literalMD "the disk of all images";
      description = ''
        The qcow2 with all images; null without any. A machine that is started by NixOS's own scripts has it.
        Attach it to any other, read-only.
      '';
    };

    label = mkOption {
      type = types.str;
      readOnly = true;
      default = label;
      defaultText = literalMD "made of the images";
      description = "The label of that disk.";
    };
  };

  # Declared once more, for what others get to read there. kubelet then finds nothing to import.
  options.services.kubernetes.kubelet.seedDockerImages = mkOption {
    apply = images: if takesSeeds then [ ] else images;
  };

  config = mkIf cfg.enable (
    {
      assertions = [
        {
          # Null lets Docker choose, which takes overlay2 where it can.
          assertion =
            !docker.enable
            || cfg.store == "containerd"
            || elem storageDriver [
              null
              "overlay2"
              "overlay"
              "overlayfs"
            ];
          message = "virtualisation.dockerPreloader: expected the storage driver overlay2, found ${toString storageDriver}; set virtualisation.docker.storageDriver to \"overlay2\", or to null.";
        }
      ];
      warnings =
        optional (docker.enable && cfg.store != "containerd" && storageDriver == "overlay")
          "virtualisation.dockerPreloader: with the storage driver overlay Docker's store is left as it is; set virtualisation.docker.storageDriver to \"overlay2\".";

      environment.systemPackages = [ cfg.package ];
      environment.etc.${configFile}.text = builtins.toJSON settings;

      # The units themselves come with the package. What is said of them here is added to them.
      systemd.packages = [ cfg.package ];
      systemd.sockets.docker-preloader.wantedBy = [ "sockets.target" ];
      systemd.services = {
        docker-preloader = {
          wantedBy = optional docker.enable "docker.service" ++ optional (!docker.enable) "multi-user.target";
          restartTriggers = [ config.environment.etc.${configFile}.source ];
          unitConfig.RequiresMountsFor = [ dataRoot ];
        };
      }
      // optionalAttrs fillsContainerd {
        docker-preloader-containerd.wantedBy =
          [ "containerd.service" ]
          ++ optional docker.enable "docker.service"
          ++ optional cfg.kubernetes "kubelet.service";
      }
      // optionalAttrs docker.enable {
        # With the minus sign, Docker starts whatever the result.
        docker.serviceConfig.ExecStartPre = [
          "${if cfg.strict then "" else "-"}${cfg.package}/bin/docker-preloader apply --degraded-ok"
        ];
      };
      systemd.targets = optionalAttrs fillsContainerd {
        docker-preloader-before-containerd.wantedBy = [ "containerd.service" ];
      };
    }
    # Only a machine that NixOS starts in QEMU itself has this option.
    // optionalAttrs (options ? virtualisation.qemu.options) {
      virtualisation.qemu.options = optionals (cfg.disk != null) [
        "-blockdev driver=qcow2,node-name=preload-${cfg.label},read-only=on,file.driver=file,file.read-only=on,file.filename=${cfg.disk}"
        "-device virtio-blk-pci,drive=preload-${cfg.label},serial=${cfg.label}"
      ];
    }
  );
}
