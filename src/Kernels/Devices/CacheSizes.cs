using System.Runtime.InteropServices;

namespace TransferEngine.Kernels;

/// <summary>
/// The bytes of the caches of this machine's first core, as the operating system tells them. What it doesn't tell is taken for 32 KiB, 512 KiB and
/// 8 MiB: sizes that hardly any machine of the last ten years falls below, so that blocks cut to them stay in the cache that they are meant for.
/// </summary>
internal static unsafe class CacheSizes
{
    static CacheSizes()
    {
        try
        {
            if (OperatingSystem.IsLinux())
                ReadLinux();
            else if (OperatingSystem.IsMacOS())
                ReadMacOS();
            else if (OperatingSystem.IsWindows())
                ReadWindows();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or DllNotFoundException or EntryPointNotFoundException)
        {
            // The sizes that were read stand; for the others there are those above.
        }
        Last = Math.Max(Last, Level2);
    }

    /// <summary>Data of the first level.</summary>
    public static int Level1 { get; private set; } = 32 << 10;

    /// <summary>The second level.</summary>
    public static int Level2 { get; private set; } = 512 << 10;

    /// <summary>The last level, which cores share; the second where there is no third.</summary>
    public static int Last { get; private set; } = 8 << 20;

    /// <summary>Takes over a size if it is plausible, and no more of it than blocks can use.</summary>
    private static void Set(int level, long bytes)
    {
        if (bytes < 4 << 10)
            return;
        bytes = Math.Min(bytes, 1 << 28);
        if (level == 1)
            Level1 = (int)bytes;
        else if (level == 2)
            (Level2, Last) = ((int)bytes, (int)bytes);
        else if (level == 3)
            Last = (int)bytes;
    }

    /// <summary>Reads the kernel's files by the shortest way, as this is on the way to the first product.</summary>
    private static void ReadLinux()
    {
        Span<byte> text = stackalloc byte[16];
        for (int index = 0; ; index++)
        {
            string cache = "/sys/devices/system/cpu/cpu0/cache/index" + (char)('0' + index);
            if (index > 9 || !File.Exists(cache + "/size"))
                return;
            if (Read(cache + "/type", text)[0] != 'I')
                Set((int)Number(Read(cache + "/level", text)), Number(Read(cache + "/size", text)));
        }
    }

    private static ReadOnlySpan<byte> Read(string file, Span<byte> text)
    {
        using var handle = File.OpenHandle(file);
        text.Clear();
        return text[..Math.Max(1, RandomAccess.Read(handle, text, 0))];
    }

    /// <summary>Digits, and K or M behind them.</summary>
    private static long Number(ReadOnlySpan<byte> text)
    {
        long value = 0;
        foreach (byte letter in text)
        {
            if (letter is < (byte)'0' or > (byte)'9')
                return letter == 'K' ? value << 10 : letter == 'M' ? value << 20 : value;
            value = value * 10 + letter - '0';
        }
        return value;
    }

    private static void ReadMacOS()
    {
        ReadOnlySpan<string> names = ["hw.perflevel0.l1dcachesize", "hw.perflevel0.l2cachesize", "hw.l3cachesize"];
        for (int level = 1; level <= names.Length; level++)
        {
            long bytes = 0;
            nuint length = sizeof(long);
            if (sysctlbyname(names[level - 1], &bytes, &length, null, 0) == 0)
                Set(level, length == sizeof(int) ? (int)bytes : bytes);
        }
    }

    private static void ReadWindows()
    {
        uint length = 0;
        GetLogicalProcessorInformation(null, &length);
        var entries = new ProcessorInformation[length / sizeof(ProcessorInformation)];
        fixed (ProcessorInformation* first = entries)
        {
            if (first is null || !GetLogicalProcessorInformation(first, &length))
                return;
        }
        const int Cache = 2, Instructions = 1;
        foreach (var entry in entries.Where(e => e.Relationship == Cache && e.CacheType != Instructions).OrderBy(e => e.CacheLevel))
            Set(entry.CacheLevel, entry.CacheSize);
    }

    /// <summary>SYSTEM_LOGICAL_PROCESSOR_INFORMATION with its union read as a cache's descriptor.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct ProcessorInformation
    {
        public nuint Mask;
        public int Relationship;
        public byte CacheLevel;
        public byte Associativity;
        public ushort LineSize;
        public uint CacheSize;
        public int CacheType;
        private readonly ulong rest;
    }

    [DllImport("libc", CharSet = CharSet.Ansi, BestFitMapping = false, ThrowOnUnmappableChar = true)]
    private static extern int sysctlbyname(string name, void* value, nuint* length, void* newValue, nuint newLength);

    [DllImport("kernel32")]
    private static extern bool GetLogicalProcessorInformation(ProcessorInformation* entries, uint* length);
}
