exports.name = "web";
