{
  description = "Docker images that are already there when Docker or Kubernetes starts";

  # It needs nothing but the packages of the system that it becomes part of.
  outputs =
    { self }:
    {
      nixosModules.default = ./module.nix;
      overlays.default = final: _previous: {
        docker-preloader = final.callPackage ./package.nix { };
      };
    };
}
