using System.Reflection;
using System.Text.RegularExpressions;

namespace TransferEngine.Tests;

/// <summary>Who may know whom: Cli → Engine → Kernels → ILGPU, never back; and inside the engine by folders.</summary>
public partial class LayeringTests
{
    private static readonly Assembly Kernels = typeof(ElementType).Assembly;
    private static readonly Assembly Engine = typeof(Tensor).Assembly;
    private static readonly Assembly Cli = Assembly.Load("TransferEngine.Cli");

    /// <summary>The folders that the files of a folder may use, besides their own and what lies at the bottom: Tensors, Autograd, Operators share one namespace.</summary>
    private static readonly Dictionary<string, string[]> MayUse = new()
    {
        ["Tensors"] = [],
        ["Autograd"] = [],
        ["Operators"] = [],
        ["Optimizers"] = [],
        ["Serialization"] = [],
        ["Modules"] = ["Serialization"], // a module saves and loads its own state
        ["Models"] = ["Modules", "Serialization"],
        ["Data"] = ["Serialization"],
        ["Transfer"] = ["Modules", "Models", "Data", "Serialization"],
        ["Training"] = ["Modules", "Models", "Data", "Serialization", "Transfer"],
        ["Adaptation"] = ["Modules", "Models", "Data", "Serialization", "Transfer", "Training"], // an adapter is trained by the one training loop
    };

    public static TheoryData<string> Folders => [.. Directory.GetDirectories(Path.Combine(Repository.Root, "src", "Engine"))
        .Select(Path.GetFileName).OfType<string>().Where(name => name is not ("bin" or "obj"))];

    [Fact]
    public void Assemblies_know_only_those_below()
    {
        Assert.Equal(["ILGPU"], Known(Kernels));
        // The compiler notes ILGPU in the engine where it resolves internal members of Kernels; the test of sources below says that nothing names it.
        Assert.Equal(["TransferEngine.Kernels"], Known(Engine).Where(name => name != "ILGPU"));
        Assert.Equal(["TransferEngine"], Known(Cli).Where(name => name != "TransferEngine.Kernels")); // DeviceKind and ElementType are defined there

        static string[] Known(Assembly assembly) => [.. assembly.GetReferencedAssemblies().Select(name => name.Name!)
            .Where(name => name.StartsWith("TransferEngine", StringComparison.Ordinal) || name.StartsWith("ILGPU", StringComparison.Ordinal)).Order()];
    }

    [Fact]
    public void Public_surface_shows_no_type_of_ILGPU_and_no_internal_one()
    {
        var wrong = new List<string>();
        foreach (var type in Engine.GetExportedTypes().Concat(Kernels.GetExportedTypes()))
        {
            foreach (var (where, used) in Signatures(type))
            {
                foreach (var part in Parts(used))
                {
                    if (part.Assembly.GetName().Name!.StartsWith("ILGPU", StringComparison.Ordinal) || (part.Assembly == Kernels && !part.IsVisible))
                        wrong.Add($"{type}.{where}: {part}");
                }
            }
        }
        Assert.True(wrong.Count == 0, string.Join('\n', wrong));
    }

    [Theory, MemberData(nameof(Folders))]
    public void A_folder_of_the_engine_uses_only_those_that_it_may(string folder)
    {
        Assert.True(MayUse.TryGetValue(folder, out string[]? allowed), $"src/Engine/{folder} has no row here. Say which folders it may use.");
        string[] above = [.. MayUse.Keys.Where(name => name != folder && !allowed.Contains(name))];
        var wrong = new List<string>();
        foreach (string file in Directory.EnumerateFiles(Path.Combine(Repository.Root, "src", "Engine", folder), "*.cs", SearchOption.AllDirectories))
        {
            foreach (Match match in EngineNamespace().Matches(File.ReadAllText(file)))
            {
                if (above.Contains(match.Groups[1].Value))
                    wrong.Add($"{Path.GetRelativePath(Repository.Root, file)} uses {match.Value}");
            }
        }
        Assert.True(wrong.Count == 0, string.Join('\n', wrong));
    }

    [Fact]
    public void Only_the_kernels_name_ILGPU()
    {
        string[] files = [.. new[] { "Engine", "Cli" }.SelectMany(part => Directory.EnumerateFiles(Path.Combine(Repository.Root, "src", part), "*.cs", SearchOption.AllDirectories))
            .Where(file => UsingIlgpu().IsMatch(File.ReadAllText(file)))];
        Assert.Empty(files);
    }

    /// <summary>The types that what others can see of a type names.</summary>
    private static IEnumerable<(string Where, Type Type)> Signatures(Type type)
    {
        const BindingFlags All = BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly;
        if (type.BaseType is { } parent)
            yield return ("base", parent);
        foreach (var contract in type.GetInterfaces())
            yield return ("interface", contract);
        foreach (var field in type.GetFields(All).Where(field => field.IsPublic || field.IsFamily || field.IsFamilyOrAssembly))
            yield return (field.Name, field.FieldType);
        foreach (var method in type.GetMembers(All).OfType<MethodBase>().Where(method => method.IsPublic || method.IsFamily || method.IsFamilyOrAssembly))
        {
            foreach (var parameter in method.GetParameters())
                yield return (method.Name, parameter.ParameterType);
            if (method is MethodInfo { ReturnType: var result })
                yield return (method.Name, result);
            foreach (var constraint in method.IsGenericMethodDefinition ? method.GetGenericArguments().SelectMany(argument => argument.GetGenericParameterConstraints()) : [])
                yield return (method.Name, constraint);
        }
    }

    private static IEnumerable<Type> Parts(Type type)
    {
        if (type.HasElementType)
            return Parts(type.GetElementType()!);
        return type.IsGenericType ? type.GetGenericArguments().SelectMany(Parts).Append(type.GetGenericTypeDefinition()) : type.IsGenericParameter ? [] : [type];
    }

    [GeneratedRegex(@"\bTransferEngine\.(\w+)")]
    private static partial Regex EngineNamespace();

    [GeneratedRegex(@"^\s*using ILGPU|\bILGPU\.\w", RegexOptions.Multiline)]
    private static partial Regex UsingIlgpu();
}
