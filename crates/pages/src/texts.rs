//! Every word of the pages, in English and Chinese. A text that is missing in one language does not compile.

/// Language of the pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Simplified Chinese.
    Chinese,
}

impl Language {
    /// The best of an `Accept-Language` header.
    pub fn from_header(header: &str) -> Self {
        let mut best = (Self::English, -1.0);
        for part in header.split(',') {
            let (name, quality) = part.split_once(";q=").unwrap_or((part, "1"));
            let quality: f64 = quality.trim().parse().unwrap_or(0.0);
            let language = match name.trim().get(..2).unwrap_or_default().to_ascii_lowercase().as_str() {
                "zh" => Self::Chinese,
                "en" => Self::English,
                _ => continue,
            };
            if quality > best.1 {
                best = (language, quality);
            }
        }
        best.0
    }

    /// From the code that [`Self::code`] gives.
    pub fn from_code(code: &str) -> Option<Self> {
        match code {
            "en" => Some(Self::English),
            "zh" => Some(Self::Chinese),
            _ => None,
        }
    }

    /// For `lang` attributes, cookies and the database.
    pub fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh",
        }
    }

    pub(crate) fn html(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-CN",
        }
    }

    pub(crate) fn texts(self) -> &'static Texts {
        match self {
            Self::English => &ENGLISH,
            Self::Chinese => &CHINESE,
        }
    }
}

macro_rules! texts {
    ($($name:ident: $english:literal, $chinese:literal;)*) => {
        /// The words, by what they are for.
        pub(crate) struct Texts { $(pub $name: &'static str,)* }
        static ENGLISH: Texts = Texts { $($name: $english,)* };
        static CHINESE: Texts = Texts { $($name: $chinese,)* };
    };
}

texts! {
    projects: "Projects", "项目";
    project: "Project", "项目";
    pipelines: "Pipelines", "流水线";
    pipeline: "Pipeline", "流水线";
    stage: "Stage", "阶段";
    status: "Status", "状态";
    git_ref: "Ref", "引用";
    started_by: "By", "触发者";
    created: "Created", "创建于";
    started: "Started", "开始于";
    finished: "Finished", "结束于";
    duration: "Duration", "耗时";
    queued: "Waited", "排队";
    runner: "Runner", "运行器";
    runners: "Runners", "运行器";
    tags: "Tags", "标签";
    settings: "Settings", "设置";
    merge_requests: "Merge requests", "合并请求";
    merge_request: "Merge request", "合并请求";
    no_merge_requests: "No merge requests here. Open one with `git push -o merge_request.create`.", "没有合并请求。可用 git push -o merge_request.create 创建。";
    no_merge_request_pipelines: "No pipeline yet: the configuration has no jobs for merge requests (`if: $CI_PIPELINE_SOURCE == \"merge_request_event\"`).", "还没有流水线：配置中没有用于合并请求的作业（if: $CI_PIPELINE_SOURCE == \"merge_request_event\"）。";
    open_merge_request: "Open a merge request", "创建合并请求";
    commit: "Commit", "提交";
    source_branch: "Source branch", "源分支";
    target_branch: "Target branch", "目标分支";
    branches: "Branches", "分支";
    title: "Title", "标题";
    author: "Author", "作者";
    changed: "Changed", "更新于";
    labels: "Labels", "标记";
    close: "Close", "关闭";
    reopen: "Reopen", "重新打开";
    state_opened: "open", "开放";
    state_merged: "merged", "已合并";
    state_closed: "closed", "已关闭";
    environments: "Environments", "环境";
    environment: "Environment", "环境";
    no_environments: "No environments yet. A job with `environment:` in .gitlab-ci.yml makes one.", "还没有环境。.gitlab-ci.yml 中带有 environment: 的作业会创建环境。";
    job: "Job", "作业";
    deployments: "Deployments", "部署";
    deployment: "Deployment", "部署";
    no_deployments: "Nothing was deployed here yet.", "尚未部署到此环境。";
    latest: "latest", "最新";
    stops_by_itself: "Stops by itself", "自动停止";
    stop: "Stop", "停止";
    state_available: "available", "可用";
    state_stopping: "stopping", "正在停止";
    state_stopped: "stopped", "已停止";
    charts: "Charts", "图表";
    log_in: "Log in", "登录";
    log_out: "Log out", "退出";
    user_name: "User name", "用户名";
    password: "Password", "密码";
    new_password: "New password", "新密码";
    old_password: "Present password", "当前密码";
    repeat_password: "New password again", "再次输入新密码";
    set_password: "Set the password", "设置密码";
    set_password_hint: "At least eight characters. This link works once.", "至少八个字符。此链接只能使用一次。";
    profile: "Profile", "个人资料";
    users: "Users", "用户";
    user: "User", "用户";
    administrator: "Administrator", "管理员";
    language: "Language", "语言";
    theme: "Light or dark", "浅色或深色";
    skip_to_content: "Skip to the content", "跳到正文";
    no_projects: "No projects yet. Push a repository here to make one:", "还没有项目。推送一个仓库即可创建：";
    no_pipelines: "No pipelines yet. A push that brings a .gitlab-ci.yml starts one.", "还没有流水线。推送包含 .gitlab-ci.yml 的提交即可启动。";
    no_ended_pipelines: "No pipeline has ended yet.", "还没有已结束的流水线。";
    no_fitting_pipelines: "No pipeline fits the filter.", "没有符合筛选条件的流水线。";
    clone_address: "Repository", "仓库地址";
    last_pipeline: "Last pipeline", "最近的流水线";
    run_pipeline: "Run a pipeline", "运行流水线";
    branch_or_tag: "Branch or tag", "分支或标签";
    variables: "Variables", "变量";
    one_variable_a_line: "One KEY=value a line", "每行一个 KEY=value";
    run: "Run", "运行";
    all: "All", "全部";
    filter: "Filter", "筛选";
    newer: "Newer", "较新";
    older: "Older", "较旧";
    by_stage: "By stage", "按阶段";
    by_needs: "By needs", "按依赖";
    jobs: "Jobs", "作业";
    facts: "About this job", "作业信息";
    last_activity: "Last activity", "最近活动";
    none_yet: "None yet.", "暂无。";
    new_variable: "New variable", "新建变量";
    new_schedule: "New schedule", "新建定时任务";
    new_trigger: "New trigger token", "新建触发令牌";
    add_member: "Add a member", "添加成员";
    new_user: "New user", "新建用户";
    new_token: "New access token", "新建访问令牌";
    follow_repository: "Follow another repository", "跟随另一个仓库";
    change: "Change", "更改";
    timeout_seconds: "Time limit of a job, in seconds", "作业时限（秒）";
    shared_runners: "Runners of the instance take its jobs", "使用实例的运行器";
    retry: "Retry", "重试";
    cancel: "Cancel", "取消";
    force_cancel: "Cancel at once", "强制取消";
    play: "Run", "运行";
    run_now: "Run now", "立即运行";
    erase: "Erase the log and the artifacts", "清除日志和产物";
    delete: "Delete", "删除";
    add: "Add", "添加";
    save: "Save", "保存";
    downstream: "Child pipelines", "子流水线";
    upstream: "Parent pipeline", "父流水线";
    left_out: "Jobs left out", "未加入的作业";
    errors: "Errors in the configuration", "配置错误";
    warnings: "Warnings", "警告";
    tests: "Tests", "测试";
    artifacts: "Artifacts", "产物";
    browse: "Browse", "浏览";
    download: "Download", "下载";
    expire: "Kept until", "保留至";
    expired: "expired", "已过期";
    forever: "for good", "永久保留";
    name: "Name", "名称";
    size: "Size", "大小";
    parent_folder: "Parent folder", "上级目录";
    raw_log: "Raw log", "原始日志";
    log: "Log", "日志";
    follow: "Follow", "跟随";
    search_log: "Search in the log", "在日志中搜索";
    next_match: "Next", "下一个";
    previous_match: "Previous", "上一个";
    fold_all: "Fold all", "全部折叠";
    unfold_all: "Unfold all", "全部展开";
    to_top: "To the top", "到顶部";
    to_bottom: "To the bottom", "到底部";
    time_stamps: "Times", "时间";
    no_log_yet: "The log begins when a runner takes the job.", "运行器接手作业后日志才会开始。";
    log_erased: "The log was erased.", "日志已被清除。";
    exit_code: "Exit code", "退出码";
    failure: "Reason", "原因";
    coverage: "Coverage", "覆盖率";
    allowed_to_fail: "allowed to fail", "允许失败";
    needs: "Needs", "依赖";
    attempt: "Other runs of this job", "此作业的其他运行";
    timeout: "Time limit", "时限";
    minutes_ago: "min ago", "分钟前";
    seconds_ago: "s ago", "秒前";
    hours_ago: "h ago", "小时前";
    days_ago: "d ago", "天前";
    just_now: "just now", "刚刚";
    online: "online", "在线";
    offline: "offline", "离线";
    never_contacted: "never seen", "从未联系";
    paused: "paused", "已暂停";
    pause: "Pause", "暂停";
    resume: "Resume", "恢复";
    version: "Version", "版本";
    last_contact: "Last contact", "最近联系";
    works_on: "Works on", "正在处理";
    idle: "nothing", "空闲";
    instance: "for all projects", "所有项目";
    new_runner: "New runner", "新建运行器";
    run_untagged: "Takes jobs without tags", "接受无标签作业";
    protected_only: "For protected refs only", "仅用于受保护的引用";
    description: "Description", "描述";
    no_runners: "No runner is registered. Make one here and register it with the token it gives you.", "还没有注册的运行器。请在此新建，并用给出的令牌注册。";
    key: "Key", "键";
    value: "Value", "值";
    kind: "Kind", "类型";
    plain_variable: "Variable", "变量";
    file: "File", "文件";
    masked: "Masked", "隐藏";
    protected: "Protected", "受保护";
    expand: "Expanded", "展开引用";
    scope: "Environment scope", "环境范围";
    hidden_value: "hidden", "已隐藏";
    schedules: "Schedules", "定时任务";
    cron: "Cron", "Cron 表达式";
    time_zone: "Time zone", "时区";
    next_run: "Next", "下次运行";
    active: "Active", "启用";
    inactive: "off", "停用";
    triggers: "Trigger tokens", "触发令牌";
    tokens: "Access tokens", "访问令牌";
    token: "Token", "令牌";
    scopes: "Scopes", "权限范围";
    expires: "Expires", "到期";
    mirror: "Mirror", "镜像";
    no_mirror: "This project is pushed to. With an address it follows a repository of another server instead; its branches and tags take the place of those here.", "此项目通过推送更新。填写地址后，它将改为跟随另一服务器上的仓库，其分支和标签会取代这里的分支和标签。";
    mirror_failed: "The last fetch failed", "上次同步失败";
    mirror_running: "is being fetched", "正在同步";
    mirror_fetched: "fetched", "已同步";
    mirror_now: "Fetch now", "立即同步";
    end_mirror: "End the mirror", "停止镜像";
    webhook_address: "Address for webhooks of GitHub, GitLab and Gitea", "GitHub、GitLab 和 Gitea 的 Webhook 地址";
    new_webhook_secret: "New webhook secret", "新建 Webhook 密钥";
    address: "Address", "地址";
    mirror_token: "Token or password", "令牌或密码";
    ssh_key: "Private key for ssh", "SSH 私钥";
    mirror_interval: "Seconds between two fetches", "同步间隔（秒）";
    mirror_pull_requests: "Also fetch pull requests, without pipelines", "同时获取合并请求（不运行流水线）";
    last_used: "Last used", "最近使用";
    never: "never", "从未";
    new_token_is: "Copy it now, it is not shown again:", "请立即复制，之后不再显示：";
    members: "Members", "成员";
    role: "Role", "角色";
    general: "General", "常规";
    default_branch: "Default branch", "默认分支";
    config_path: "Configuration file", "配置文件";
    protected_refs: "Protected branches and tags (patterns)", "受保护的分支和标签（模式）";
    public_pipelines: "Everyone may see pipelines and logs", "所有人可查看流水线和日志";
    badges: "Badges", "徽章";
    total: "Total", "合计";
    failed: "Failed", "失败";
    skipped: "Skipped", "跳过";
    passed: "Passed", "通过";
    errors_count: "Errors", "错误";
    suite: "Suite", "套件";
    test_case: "Test", "测试";
    time: "Time", "时间";
    no_tests: "No job of this pipeline brought a test report.", "此流水线没有测试报告。";
    success_rate: "Passed", "成功率";
    durations_chart: "How long pipelines took", "流水线耗时";
    success_chart: "Pipelines by day", "每日流水线";
    median: "Median", "中位数";
    slowest: "Longest", "最长";
    not_found: "Not found", "未找到";
    not_found_hint: "It does not exist, or you may not see it.", "它不存在，或您无权查看。";
    forbidden: "Not allowed", "没有权限";
    forbidden_hint: "Your role does not allow this. Ask a maintainer of the project.", "您的角色不允许此操作。请联系项目维护者。";
    something_failed: "Something went wrong", "出了点问题";
    something_failed_hint: "Harrier could not do this. Its log says why.", "Harrier 无法完成此操作，其日志说明了原因。";
    bad_request: "That did not make sense", "请求无效";
    last_deployment: "Last deployment", "最近部署";
    state_created: "created", "已创建";
    state_waiting: "waits for its resource", "等待资源";
    state_preparing: "preparing", "准备中";
    state_scheduled: "delayed", "已延迟";
    state_manual: "manual", "手动";
    state_pending: "pending", "等待中";
    state_running: "running", "运行中";
    state_success: "passed", "已通过";
    state_warning: "passed with warnings", "通过（有警告）";
    state_failed: "failed", "已失败";
    state_canceling: "canceling", "取消中";
    state_canceled: "canceled", "已取消";
    state_skipped: "skipped", "已跳过";
    state_none: "none", "无";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reader_chooses() {
        for (header, language) in [
            ("", Language::English),
            ("zh-CN,zh;q=0.9,en;q=0.8", Language::Chinese),
            ("en-GB,en;q=0.9,zh;q=0.8", Language::English),
            ("de, zh-TW;q=0.5, en;q=0.4", Language::Chinese),
            ("fr", Language::English),
            ("zh;q=nonsense", Language::Chinese),
            ("\u{e9}", Language::English),
        ] {
            assert_eq!(Language::from_header(header), language, "{header}");
        }
    }
}
