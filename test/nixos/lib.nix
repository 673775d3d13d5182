# A small stand-in for the `lib` of nixpkgs: modules with their options, properties and types, by the same rules as far as
# our module and the options beside this file need them.
let
  inherit (builtins)
    all
    any
    attrNames
    concatLists
    concatMap
    elem
    elemAt
    filter
    foldl'
    head
    isAttrs
    isBool
    isFunction
    isInt
    isList
    isString
    length
    listToAttrs
    stringLength
    substring
    toJSON
    ;

  typeOf = value: if isAttrs value then value._type or "" else "";
  at = path: builtins.concatStringsSep "." path;

  optional = condition: value: if condition then [ value ] else [ ];
  optionals = condition: values: if condition then values else [ ];
  optionalAttrs = condition: values: if condition then values else { };
  unique = foldl' (known: value: if elem value known then known else known ++ [ value ]) [ ];
  toList = value: if isList value then value else [ value ];
  hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;
  hasSuffix =
    suffix: text:
    stringLength text >= stringLength suffix
    && substring (stringLength text - stringLength suffix) (-1) text == suffix;
  removePrefix = prefix: text: if hasPrefix prefix text then substring (stringLength prefix) (-1) text else text;

  mkOption = attrs: attrs // { _type = "option"; };
  mkIf = condition: content: {
    _type = "if";
    inherit condition content;
  };
  mkMerge = contents: {
    _type = "merge";
    inherit contents;
  };
  mkOverride = priority: content: {
    _type = "override";
    inherit priority content;
  };
  mkDefault = mkOverride 1000;
  mkForce = mkOverride 50;
  mkOptionDefault = mkOverride 1500;
  literal = _type: text: { inherit _type text; };

  # What a definition says in the end: without conditions that do not hold, each value with its priority.
  discharge =
    definition:
    {
      "if" = optionals definition.condition (discharge definition.content);
      merge = concatMap discharge definition.contents;
      override = map (said: said // { inherit (definition) priority; }) (discharge definition.content);
    }
    .${typeOf definition} or [
      {
        priority = 100;
        value = definition;
      }
    ];

  # What a definition says of one attribute. Conditions go along, so that they are not asked for the names.
  under =
    name: definition:
    {
      "if" = map (mkIf definition.condition) (under name definition.content);
      merge = concatMap (under name) definition.contents;
      override = map (mkOverride definition.priority) (under name definition.content);
    }
    .${typeOf definition} or (optional (definition ? ${name}) definition.${name});

  namesIn =
    definition:
    {
      "if" = namesIn definition.content;
      merge = concatMap namesIn definition.contents;
      override = namesIn definition.content;
    }
    .${typeOf definition} or (attrNames definition);

  # Those that count: with the strongest priority.
  strongest =
    said:
    let
      priority = foldl' (least: { priority, ... }: if priority < least then priority else least) 9999 said;
    in
    map ({ value, ... }: value) (filter (one: one.priority == priority) said);

  mergeAs =
    path: type: values:
    if values == [ ] then
      throw "The option `${at path}' was accessed but has no value defined."
    else if !all type.check values then
      throw "A definition for option `${at path}' is not of type `${type.name}'."
    else
      type.merge path values;

  one = path: values: if all (value: value == head values) values then head values else throw "The option `${at path}' has conflicting definition values.";
  mkOptionType =
    { name, check, merge }:
    {
      inherit name check;
      merge = path: values: merge path (map (value: { inherit value; }) values);
    };
  mergeEqualOption = path: definitions: one path (map ({ value, ... }: value) definitions);
  simple = name: check: {
    inherit name check;
    merge = one;
  };
  isPackage = value: (isAttrs value && value.type or "" == "derivation") || (isString value && hasPrefix "${builtins.storeDir}/" value);
  attrsOf = type: {
    name = "attribute set of ${type.name}";
    check = isAttrs;
    merge =
      path: values:
      let
        defined = name: concatMap discharge (concatMap (under name) values);
      in
      listToAttrs (
        map (name: {
          inherit name;
          value = mergeAs (path ++ [ name ]) type (strongest (defined name));
        }) (filter (name: defined name != [ ]) (unique (concatMap namesIn values)))
      );
  };
  types = {
    anything = {
      name = "anything";
      check = _: true;
      merge = path: values: if all isAttrs values then (attrsOf types.anything).merge path values else one path values;
    };
    bool = simple "boolean" isBool;
    int = simple "integer" isInt;
    str = simple "string" isString;
    path = simple "path" (value: hasPrefix "/" (toString value));
    lines = {
      name = "strings with newlines between";
      check = isString;
      merge = _: builtins.concatStringsSep "\n";
    };
    package = simple "package" isPackage;
    enum = values: simple "one of ${toJSON values}" (value: elem value values);
    nullOr = type: {
      name = "null or ${type.name}";
      check = value: value == null || type.check value;
      merge = path: values: if all (value: value == null) values then null else type.merge path values;
    };
    listOf = type: {
      name = "list of ${type.name}";
      check = values: isList values && all type.check values;
      merge = path: values: map (value: type.merge path [ value ]) (concatLists values);
    };
    inherit attrsOf;
    submodule = module: {
      name = "submodule";
      check = isAttrs;
      merge =
        path: values:
        let
          result = evaluate path [
            (module {
              name = elemAt path (length path - 1);
              inherit (result) config;
            }).options
          ] values;
        in
        if result.undeclared == [ ] then result.config else throw "The option `${head result.undeclared}' does not exist.";
    };
  };

  # An option may be declared in several places, as long as they say different things of it.
  declared =
    path:
    foldl' (
      known: more:
      let
        twice = filter (name: known ? ${name} && more ? ${name}) [
          "apply"
          "default"
          "description"
          "example"
          "type"
        ];
      in
      if twice == [ ] then known // more else throw "The option `${at path}' is already declared, with ${toJSON twice}."
    ) { };

  evaluateOption =
    path: option: definitions:
    let
      said =
        concatMap discharge definitions
        ++ optionals (option ? default) (discharge (mkOptionDefault option.default));
      values = strongest said;
      type = option.type or types.anything;
      merged =
        if option.readOnly or false && length said > 1 then
          throw "The option `${at path}' is read-only, but it's set multiple times."
        else
          mergeAs path type values;
    in
    option
    // {
      value = (option.apply or (value: value)) merged;
      definitions = values;
      isDefined = values != [ ];
    };

  # The options of some declarations, with the values that some definitions give them.
  evaluate =
    path: declarations: definitions:
    let
      names = unique (concatMap attrNames declarations);
      results = listToAttrs (
        map (name: {
          inherit name;
          value = evaluateName (path ++ [ name ]) (concatMap (under name) declarations) (concatMap (under name) definitions);
        }) names
      );
      evaluateName =
        path: declarations: definitions:
        if any (declaration: typeOf declaration == "option") declarations then
          let
            option = evaluateOption path (declared path declarations) definitions;
          in
          {
            options = option;
            config = option.value;
            undeclared = [ ];
          }
        else
          evaluate path declarations definitions;
      unknown = filter (name: !(elem name names)) (unique (concatMap namesIn definitions));
      each = part: builtins.mapAttrs (_: result: result.${part}) results;
    in
    {
      options = each "options";
      config = each "config";
      undeclared = map (name: at (path ++ [ name ])) unknown ++ concatLists (builtins.attrValues (each "undeclared"));
    };

  # Modules with those that they import, as sets of `options` and `config`.
  load =
    args: module:
    let
      read = if isFunction module || isAttrs module then module else import module;
      value = if isFunction read then read args else read;
      loaded =
        if value ? options || value ? config || value ? imports then
          {
            options = value.options or { };
            config = value.config or { };
            imports = value.imports or [ ];
          }
        else
          {
            options = { };
            config = value;
            imports = [ ];
          };
    in
    [ loaded ] ++ concatMap (load args) loaded.imports;

  evalModules =
    {
      modules,
      specialArgs ? { },
    }:
    let
      loaded = concatMap (load (specialArgs // { inherit lib; inherit (result) config options; })) modules;
      result = evaluate [ ] (map ({ options, ... }: options) loaded) (map ({ config, ... }: config) loaded);
    in
    if result.undeclared == [ ] then
      { inherit (result) config options; }
    else
      throw "The option `${head result.undeclared}' does not exist.";

  lib = {
    inherit
      all
      any
      concatLists
      concatMap
      elem
      evalModules
      filter
        hasPrefix
      hasSuffix
      head
      mkDefault
      mkForce
      mkIf
      mkMerge
      mergeEqualOption
      mkOption
      mkOptionType
      mkOverride
      optional
      optionalAttrs
      optionals
      removePrefix
        toList
      types
      unique
      ;
    literalExpression = literal "literalExpression";
    literalMD = literal "literalMD";
    licenses.mit = { spdxId = "MIT"; };
    sourceTypes.binaryNativeCode = { shortName = "binaryNativeCode"; };
  };
in
lib
