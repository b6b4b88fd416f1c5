using System.Reflection;
using System.Runtime.CompilerServices;

namespace TransferEngine.Kernels;

/// <summary>
/// The kernels that a program has loaded on a device, by name in a file, one a line in the order of first use: what the next process of the program warms up. A line is added when
/// a kernel is loaded that isn't named yet. The file is data from outside: a name stands for a type only if it is a kernel of this library or of an assembly that sees its internals
/// and is loaded already, closed over types of those and numbers; what is cut short, misspelt or anything else is passed over. Nothing is loaded by a name in it.
/// </summary>
internal sealed class KernelList(string file)
{
    private const int LongestFile = 1 << 20, LongestName = 4096, DeepestNesting = 16;

    private static readonly Dictionary<string, Type> Numbers = new[] { typeof(float), typeof(double), typeof(int), typeof(long), typeof(uint), typeof(ulong), typeof(byte) }.ToDictionary(type => type.FullName!);

    private readonly Lock gate = new();
    private HashSet<string>? named;

    /// <summary>The kernels that are named, in the order of the file; empty where there is none, or one of more than a MiB.</summary>
    public IReadOnlyList<Type> Read()
    {
        lock (gate)
        {
            var kernels = new List<Type>();
            named = [];
            var assemblies = Assemblies();
            foreach (string line in Lines())
            {
                if (named.Add(line) && Resolve(line, assemblies) is { } kernel)
                    kernels.Add(kernel);
            }
            return kernels;
        }
    }

    /// <summary>Adds a kernel if it is not named yet; where the file cannot be written to, nothing happens.</summary>
    public void Add(Type kernel)
    {
        string name = NameOf(kernel);
        lock (gate)
        {
            named ??= [.. Lines()];
            if (name.Length > LongestName || !named.Add(name))
                return;
            try
            {
                Directory.CreateDirectory(Path.GetDirectoryName(file)!);
                if (File.Exists(file) && new FileInfo(file).Length > LongestFile - LongestName)
                    File.Delete(file); // grown over many uses, or damaged: begun anew
                File.AppendAllText(file, $"\n{name}\n"); // a line of its own behind one that was cut short
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // It is not remembered.
            }
        }
    }

    /// <summary>The name of a kernel in the file: its type's full name with those of its arguments.</summary>
    public static string NameOf(Type kernel) => kernel.ToString();

    /// <summary>The kernel of a name, or null if it is none.</summary>
    public static Type? Resolve(string name) => Resolve(name, Assemblies());

    private static Type? Resolve(string name, IReadOnlyList<Assembly> assemblies)
    {
        var rest = name.AsSpan();
        if (name.Length > LongestName || Parse(ref rest, assemblies, 0) is not { IsValueType: true, ContainsGenericParameters: false } type || !rest.IsEmpty)
            return null;
        return type.GetInterfaces().Any(contract => contract.IsGenericType && contract.GetGenericTypeDefinition() is var open && (open == typeof(IKernel<>) || open == typeof(IGroupKernel<>))) ? type : null;
    }

    /// <summary>Takes a type off the front of a text: a name, and in brackets its arguments.</summary>
    private static Type? Parse(ref ReadOnlySpan<char> text, IReadOnlyList<Assembly> assemblies, int depth)
    {
        int length = 0;
        while (length < text.Length && (char.IsAsciiLetterOrDigit(text[length]) || text[length] is '.' or '+' or '`' or '_'))
            length++;
        string name = new(text[..length]);
        text = text[length..];
        var type = Numbers.GetValueOrDefault(name) ?? assemblies.Select(assembly => name.Length == 0 ? null : assembly.GetType(name, throwOnError: false)).FirstOrDefault(found => found is not null);
        if (type is null || depth > DeepestNesting)
            return null;
        if (!text.StartsWith("["))
            return type;
        var arguments = new List<Type>();
        do
        {
            text = text[1..];
            if (Parse(ref text, assemblies, depth + 1) is not { } argument)
                return null;
            arguments.Add(argument);
        }
        while (text.StartsWith(","));
        if (!text.StartsWith("]") || !type.IsGenericTypeDefinition || type.GetGenericArguments().Length != arguments.Count || arguments.Exists(argument => argument.ContainsGenericParameters))
            return null;
        text = text[1..];
        try
        {
            return type.MakeGenericType([.. arguments]);
        }
        catch (Exception e) when (e is ArgumentException or TypeLoadException)
        {
            return null; // the arguments are none that it takes
        }
    }

    /// <summary>This library and the loaded ones that see its internals: kernels are internal types.</summary>
    private static IReadOnlyList<Assembly> Assemblies()
    {
        var own = typeof(KernelList).Assembly;
        var friends = own.GetCustomAttributes<InternalsVisibleToAttribute>().Select(friend => friend.AssemblyName).ToHashSet();
        return [own, .. AppDomain.CurrentDomain.GetAssemblies().Where(assembly => !assembly.IsDynamic && friends.Contains(assembly.GetName().Name ?? ""))];
    }

    private IEnumerable<string> Lines()
    {
        try
        {
            var info = new FileInfo(file);
            if (!info.Exists || info.Length > LongestFile)
                return [];
            if (DateTime.UtcNow - info.LastWriteTimeUtc > TimeSpan.FromDays(1))
                File.SetLastWriteTimeUtc(file, DateTime.UtcNow); // in use: not swept away
            return [.. File.ReadAllLines(file).Where(line => line.Length > 0)];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }
}
