# A machine of NixOS as far as our module goes, and what of it can be seen from outside.
{
  place,
  lib ? import ./lib.nix,
}:
let
  pkgs = import ./pkgs.nix { inherit lib place; };

  evaluate =
    {
      module,
      configurations,
      withQemu ? true,
    }:
    lib.evalModules {
      specialArgs = { inherit pkgs; };
      modules = [
        (import ./options.nix { inherit withQemu; })
        module
      ]
      ++ configurations;
    };

  lines =
    section: values:
    lib.optionals (values != { }) (
      [ "[${section}]" ]
      ++ lib.concatMap (name: map (value: "${name}=${toString value}") (lib.toList values.${name})) (
        builtins.attrNames values
      )
    );
  # What NixOS adds to a unit that comes with a package.
  overrides =
    unit:
    builtins.concatStringsSep "\n" (
      lines "Unit" (
        unit.unitConfig
        // lib.optionalAttrs (unit.requires != [ ]) { Requires = unit.requires; }
        // lib.optionalAttrs (unit.after != [ ]) { After = unit.after; }
        // lib.optionalAttrs (unit.restartTriggers != [ ]) {
          X-Restart-Triggers = map toString unit.restartTriggers;
        }
      )
      ++ lines "Service" unit.serviceConfig
    );

  seen =
    { config, ... }:
    {
      failed = map ({ message, ... }: message) (lib.filter ({ assertion, ... }: !assertion) config.assertions);
      inherit (config) warnings;
      programs = map toString config.environment.systemPackages;
      etc = builtins.mapAttrs (_: file: file.text) config.environment.etc;
      packages = map toString config.systemd.packages;
      units = builtins.listToAttrs (
        lib.concatMap
          (
            kind:
            map (name: {
              name = "${name}.${kind}";
              value = {
                inherit (config.systemd."${kind}s".${name}) wantedBy preStart;
                overrides = overrides config.systemd."${kind}s".${name};
              };
            }) (builtins.attrNames config.systemd."${kind}s")
          )
          [
            "service"
            "socket"
            "target"
          ]
      );
      qemu = config.virtualisation.qemu.options or null;
      disk =
        let
          inherit (config.virtualisation.dockerPreloader) disk;
        in
        if disk == null then null else { inherit (disk) name builder args; };
      seeds = map toString config.services.kubernetes.kubelet.seedDockerImages;
    };
in
{
  inherit
    evaluate
    lib
    pkgs
    seen
    ;
}
