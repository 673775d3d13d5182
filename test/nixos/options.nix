# What of NixOS our module speaks to: the options, by their names and types, and what NixOS makes of them for Docker, kubelet
# and files in /etc.
{ withQemu ? true }:
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;

  # A value of a section of a unit: several make a list.
  unitValue = lib.mkOptionType {
    name = "systemd option";
    check = value: builtins.isBool value || builtins.isInt value || builtins.isString value || builtins.isList value;
    merge =
      path: definitions:
      let
        values = map ({ value, ... }: value) definitions;
      in
      if lib.any builtins.isList values then lib.concatMap lib.toList values else lib.mergeEqualOption path definitions;
  };
  listOf =
    type:
    mkOption {
      type = types.listOf type;
      default = [ ];
    };
  section = mkOption {
    type = types.attrsOf unitValue;
    default = { };
  };
  flag = mkOption {
    type = types.bool;
    default = false;
  };
  unit = _: {
    options = {
      wantedBy = listOf types.str;
      after = listOf types.str;
      requires = listOf types.str;
      restartTriggers = listOf types.anything;
      unitConfig = section;
      serviceConfig = section;
      socketConfig = section;
      preStart = mkOption {
        type = types.lines;
        default = "";
      };
    };
  };
  units = mkOption {
    type = types.attrsOf (types.submodule unit);
    default = { };
  };

  docker = config.virtualisation.docker;
  daemonJson = (pkgs.formats.json { }).generate "daemon.json" docker.daemon.settings;
  kubelet = config.services.kubernetes.kubelet;
in
{
  options = {
    assertions = listOf types.anything;
    warnings = listOf types.str;
    environment.systemPackages = listOf types.package;
    environment.etc = mkOption {
      default = { };
      type = types.attrsOf (
        types.submodule (
          { name, config, ... }:
          {
            options = {
              text = mkOption {
                type = types.nullOr types.lines;
                default = null;
              };
              source = mkOption {
                type = types.path;
                default = pkgs.writeText "etc-${baseNameOf name}" config.text;
              };
            };
          }
        )
      );
    };
    systemd.packages = listOf types.package;
    systemd.services = units;
    systemd.sockets = units;
    systemd.targets = units;
    virtualisation =
      {
        docker = {
          enable = flag;
          package = mkOption {
            type = types.package;
            default = pkgs.docker;
          };
          storageDriver = mkOption {
            type = types.nullOr (
              types.enum [
                "aufs"
                "btrfs"
                "devicemapper"
                "overlay"
                "overlay2"
                "zfs"
              ]
            );
            default = null;
          };
          daemon.settings = mkOption {
            inherit (pkgs.formats.json { }) type;
            default = { };
          };
          extraOptions = mkOption {
            type = types.lines;
            default = "";
          };
        };
      }
      // lib.optionalAttrs withQemu {
        qemu.options = listOf types.str;
      };
    services.kubernetes.kubelet = {
      enable = flag;
      seedDockerImages = listOf types.package;
    };
  };

  config = lib.mkMerge [
    (lib.mkIf docker.enable {
      virtualisation.docker.daemon.settings = {
        group = "docker";
        hosts = [ "fd://" ];
        log-driver = lib.mkDefault "journald";
        storage-driver = lib.mkIf (docker.storageDriver != null) (lib.mkDefault docker.storageDriver);
      };
      systemd.packages = [ docker.package ];
      systemd.services.docker = {
        wantedBy = [ "multi-user.target" ];
        after = [
          "network.target"
          "docker.socket"
        ];
        requires = [ "docker.socket" ];
        serviceConfig.ExecStart = [
          ""
          ''
            ${docker.package}/bin/dockerd \
              --config-file=${daemonJson} \
              ${docker.extraOptions}
          ''
        ];
      };
    })
    (lib.mkIf kubelet.enable {
      # As NixOS has images of its own there.
      services.kubernetes.kubelet.seedDockerImages = [ pkgs.pause ];
      systemd.services.kubelet = {
        wantedBy = [ "kubernetes.target" ];
        after = [ "containerd.service" ];
        preStart = builtins.concatStringsSep "" (map (image: "ctr -n k8s.io image import ${image}\n") kubelet.seedDockerImages);
      };
    })
  ];
}
