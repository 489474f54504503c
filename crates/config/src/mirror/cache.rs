//! `[runners.cache]` (`runner-config.md` §7).

use crate::table::table;
use harrier_base::Secret;

table! {
/// `[runners.cache]`.
Cache {
    kind: Option<String>, "Type", Omit, "type", "CACHE_TYPE", "s3, gcs or azure; unset = no remote cache";
    path: Option<String>, "Path", Omit, "path", "CACHE_PATH", "Prefix of object names";
    shared: Option<bool>, "Shared", Omit, "shared", "CACHE_SHARED", "Leave `runner/<short token>` out of names";
    max_uploaded_archive_size: Option<i64>, "MaxUploadedArchiveSize", Always, "max_uploaded_archive_size", "CACHE_MAXIMUM_UPLOADED_ARCHIVE_SIZE", "Bytes; larger archives are not uploaded; 0 = no limit";
    s3: Option<S3>, "s3", Omit, "s3", "", "S3";
    gcs: Option<Gcs>, "gcs", Omit, "gcs", "", "Google Cloud Storage";
    azure: Option<Azure>, "azure", Omit, "azure", "", "Azure Blob Storage";
}
}

table! {
/// `[runners.cache.s3]` (§7.1).
S3 {
    server_address: Option<String>, "ServerAddress", Omit, "server-address", "CACHE_S3_SERVER_ADDRESS", "host[:port]; unset = AWS";
    access_key: Option<Secret>, "AccessKey", Omit, "access-key", "CACHE_S3_ACCESS_KEY", "Access key";
    secret_key: Option<Secret>, "SecretKey", Omit, "secret-key", "CACHE_S3_SECRET_KEY", "Secret key";
    session_token: Option<Secret>, "SessionToken", Omit, "session-token", "CACHE_S3_SESSION_TOKEN", "Session token";
    bucket_name: Option<String>, "BucketName", Omit, "bucket-name", "CACHE_S3_BUCKET_NAME", "Bucket";
    bucket_location: Option<String>, "BucketLocation", Omit, "bucket-location", "CACHE_S3_BUCKET_LOCATION", "Region";
    insecure: Option<bool>, "Insecure", Omit, "insecure", "CACHE_S3_INSECURE", "http instead of https";
    authentication_type: Option<String>, "AuthenticationType", Omit, "authentication_type", "CACHE_S3_AUTHENTICATION_TYPE", "access-key or iam";
    server_side_encryption: Option<String>, "ServerSideEncryption", Omit, "server-side-encryption", "CACHE_S3_SERVER_SIDE_ENCRYPTION", "S3, KMS or DSSE-KMS";
    server_side_encryption_key_id: Option<String>, "ServerSideEncryptionKeyID", Omit, "server-side-encryption-key-id", "CACHE_S3_SERVER_SIDE_ENCRYPTION_KEY_ID", "KMS key";
    dual_stack: Option<bool>, "DualStack", Omit, "dual-stack", "CACHE_S3_DUAL_STACK", "IPv4 and IPv6 endpoint; default true";
    path_style: Option<bool>, "PathStyle", Omit, "path-style", "CACHE_S3_PATH_STYLE", "Path-style URLs; default by address";
    accelerate: Option<bool>, "Accelerate", Omit, "accelerate", "CACHE_S3_ACCELERATE", "Transfer acceleration";
    role_arn: Option<String>, "RoleARN", Omit, "role-arn", "CACHE_S3_ROLE_ARN", "Role to assume";
    upload_role_arn: Option<String>, "UploadRoleARN", Omit, "upload-role-arn", "CACHE_S3_UPLOAD_ROLE_ARN", "Role to assume for uploads; deprecated";
    assume_role_max_concurrency: Option<i64>, "AssumeRoleMaxConcurrency", Always, "assume-role-max-concurrency", "CACHE_S3_ASSUME_ROLE_MAX_CONCURRENCY", "Calls at a time; default 5, -1 = no limit";
    disable_assume_role_credentials_caching: Option<bool>, "DisableAssumeRoleCredentialsCaching", Omit, "disable-assume-role-credentials-caching", "CACHE_S3_DISABLE_ASSUME_ROLE_CREDENTIALS_CACHING", "Do not keep credentials";
}
}

table! {
/// `[runners.cache.gcs]` (§7.2).
Gcs {
    access_id: Option<String>, "AccessID", Omit, "access-id", "CACHE_GCS_ACCESS_ID", "Service account";
    private_key: Option<Secret>, "PrivateKey", Omit, "private-key", "CACHE_GCS_PRIVATE_KEY", "Its key";
    credentials_file: Option<String>, "CredentialsFile", Omit, "credentials-file", "GOOGLE_APPLICATION_CREDENTIALS", "File with both";
    bucket_name: Option<String>, "BucketName", Omit, "bucket-name", "CACHE_GCS_BUCKET_NAME", "Bucket";
    universe_domain: Option<String>, "UniverseDomain", Omit, "universe-domain", "CACHE_GCS_UNIVERSE_DOMAIN", "Universe domain";
}
}

table! {
/// `[runners.cache.azure]` (§7.3).
Azure {
    account_name: Option<String>, "AccountName", Omit, "account-name", "CACHE_AZURE_ACCOUNT_NAME", "Account";
    account_key: Option<Secret>, "AccountKey", Omit, "account-key", "CACHE_AZURE_ACCOUNT_KEY", "Its key; unset = default identity";
    container_name: Option<String>, "ContainerName", Omit, "container-name", "CACHE_AZURE_CONTAINER_NAME", "Container";
    storage_domain: Option<String>, "StorageDomain", Omit, "storage-domain", "CACHE_AZURE_STORAGE_DOMAIN", "Domain; default blob.core.windows.net";
}
}
