exports.name = "api";
