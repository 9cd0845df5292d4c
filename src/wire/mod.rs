//! A protobuf wire editor: finds, replaces and appends fields and leaves every other byte as it is.
